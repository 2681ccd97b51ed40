/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first line that is neither empty nor a comment tells the three syntaxes apart: an object is
 * JSON, an assignment to a name in capitals is flowd's, and the rest is YAML.
 */
#include "daemon/convert/source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/convert/flowd_go.h"
#include "daemon/convert/flowd_python.h"
#include "daemon/convert/python_assignments.h"
#include "daemon/convert/yaml_document.h"

#define SIZE_MAX_BYTES (1U << 20)

static int read_whole(int fd, struct flowd_text *text, struct flowd_error *err)
{
    char part[16384];
    ssize_t got;

    while ((got = read(fd, part, sizeof(part))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return flowd_fail_errno(err, errno, "read");
        flowd_text_append(text, part, (size_t)got);
        if (text->length > SIZE_MAX_BYTES)
            return flowd_fail(err, EFBIG, "is larger than 1 MiB, which no configuration is");
    }
    return flowd_text_failed(text) ? flowd_fail_errno(err, ENOMEM, "read") : 0;
}

int flowd_source_read(const char *path, struct flowd_text *text, struct flowd_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result;

    if (fd < 0)
        return flowd_fail_errno(err, errno, "open");
    result = read_whole(fd, text, err);
    close(fd);
    return result;
}

/* NAME = ..., with a name in capitals, as every setting of flowd has. */
static bool is_assignment(const char *at, const char *end)
{
    const char *name = at;

    while (at < end && (isupper((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_'))
        at++;
    if (at == name)
        return false;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at < end && *at == '=';
}

enum flowd_source_syntax flowd_source_syntax_of(const char *text, size_t length)
{
    const char *at = text, *end = text + length;

    while (at < end) {
        if (*at == '#') {
            const char *newline = memchr(at, '\n', (size_t)(end - at));

            at = newline != NULL ? newline : end;
        } else if (isspace((unsigned char)*at)) {
            at++;
        } else {
            break;
        }
    }
    if (at < end && *at == '{')
        return FLOWD_SYNTAX_JSON;
    return is_assignment(at, end) ? FLOWD_SYNTAX_PYTHON : FLOWD_SYNTAX_YAML;
}

static bool is_yaml_mapping(const struct flowd_text *text)
{
    json_t *root = flowd_yaml_parse(text->data, text->length, NULL);
    bool found = json_is_object(root);

    json_decref(root);
    return found;
}

const char *flowd_source_foreign(const char *path)
{
    struct flowd_text text = {0};
    const char *name = NULL;

    if (flowd_source_read(path, &text, NULL) == 0 && text.length > 0) {
        switch (flowd_source_syntax_of(text.data, text.length)) {
        case FLOWD_SYNTAX_PYTHON:
            name = "a flowd.cfg, as flowd 1.1 has it";
            break;
        case FLOWD_SYNTAX_YAML:
            name = is_yaml_mapping(&text) ? "YAML, as flowd-go 2.3+ has it" : NULL;
            break;
        case FLOWD_SYNTAX_JSON:
            break;
        }
    }
    flowd_text_fini(&text);
    return name;
}

/* Keys that flowd-go never had: the configuration is flowd's already. */
static bool is_own(const json_t *root)
{
    static const char *const keys[] = {"stateDir", "flows", "registry", "log"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (json_object_get(root, keys[i]) != NULL)
            return true;
    return false;
}

static json_t *convert_python(const char *text, size_t length, struct flowd_messages *notes)
{
    json_t *assignments = flowd_python_parse(text, length, notes);
    json_t *root = assignments != NULL ? flowd_python_convert(assignments, notes) : NULL;

    json_decref(assignments);
    return root;
}

json_t *flowd_source_convert(const char *text, size_t length, struct flowd_messages *notes,
                             struct flowd_error *err)
{
    enum flowd_source_syntax syntax = flowd_source_syntax_of(text, length);
    json_error_t error;
    json_t *root;

    if (syntax == FLOWD_SYNTAX_PYTHON) {
        root = convert_python(text, length, notes);
        if (root == NULL)
            (void)flowd_fail_errno(err, ENOMEM, "flowd.cfg");
        return root;
    }
    if (syntax == FLOWD_SYNTAX_YAML) {
        root = flowd_yaml_parse(text, length, err);
    } else {
        root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
        if (root == NULL)
            (void)flowd_fail(err, EINVAL, "line %d, column %d: %s", error.line, error.column,
                             error.text);
    }
    if (json_is_null(root)) {
        json_decref(root);
        root = json_object();
    }
    if (root != NULL && !json_is_object(root)) {
        (void)flowd_fail(err, EINVAL, "is no configuration: wants an object at the top");
        json_decref(root);
        root = NULL;
    }
    if (root != NULL && is_own(root))
        flowd_messages_add(notes, "has keys of flowd itself, and is not taken for one of flowd-go");
    else if (root != NULL)
        flowd_go_convert(root, notes);
    return root;
}

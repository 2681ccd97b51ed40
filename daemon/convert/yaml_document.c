/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From libyaml's nodes to JSON values. The same node may be reached several times (aliases) or
 * contain itself: what is made of it is counted, and how deep it lies.
 */
#include "daemon/convert/yaml_document.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 32
#define NODES_MAX 100000
#define BYTES_MAX (4U << 20)
#define NUMBER_MAX_LENGTH 64
#define CORE_TAG "tag:yaml.org,2002:"

struct reader {
    yaml_document_t *document;
    size_t nodes; /* that were made so far */
    size_t bytes; /* of their texts */
    struct flowd_error *err;
};

static json_t *read_node(struct reader *reader, int index, unsigned depth);

static json_t *refuse(const struct reader *reader, const yaml_node_t *node, const char *what)
{
    (void)flowd_fail(reader->err, EINVAL, "line %zu: %s", node->start_mark.line + 1, what);
    return NULL;
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* Whether text[0..] holds digits of the base, and nothing else. */
static bool is_number_of(const char *text, const char *digits)
{
    return text[0] != '\0' && text[strspn(text, digits)] == '\0';
}

/* NULL: text is no integer, or one that 64 bits don't hold. */
static json_t *integer_of(const char *text)
{
    const char *digits = text + (text[0] == '+' || text[0] == '-');
    long long value;
    int base = 10;

    if (strncmp(digits, "0x", 2) == 0 && is_number_of(digits + 2, "0123456789abcdefABCDEF"))
        base = 16;
    else if (strncmp(digits, "0o", 2) == 0 && is_number_of(digits + 2, "01234567"))
        base = 8;
    else if (!is_number_of(digits, "0123456789"))
        return NULL;
    if (base != 10 && digits != text)
        return NULL;
    errno = 0;
    value = strtoll(base == 8 ? digits + 2 : text, NULL, base);
    return errno == 0 ? json_integer(value) : NULL;
}

static json_t *real_of(const char *text)
{
    char *end;
    double value;

    if (strspn(text, "0123456789+-.eE") != strlen(text) || strpbrk(text, "0123456789") == NULL)
        return NULL;
    value = strtod(text, &end);
    return *end == '\0' ? json_real(value) : NULL;
}

static json_t *plain_scalar(const char *text, size_t length)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    json_t *number = NULL;

    if (strlen(text) != length)
        return NULL;
    if (is_one_of(text, nulls))
        return json_null();
    if (is_one_of(text, trues))
        return json_true();
    if (is_one_of(text, falses))
        return json_false();
    if (length <= NUMBER_MAX_LENGTH) {
        number = integer_of(text);
        if (number == NULL)
            number = real_of(text);
    }
    return number != NULL ? number : json_stringn(text, length);
}

static json_t *read_scalar(struct reader *reader, const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    size_t length = node->data.scalar.length;
    json_t *value;

    reader->bytes += length;
    if (reader->bytes > BYTES_MAX)
        return refuse(reader, node, "too large with what its aliases repeat");
    value = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(text, length)
                                                               : json_stringn(text, length);
    return value != NULL ? value : refuse(reader, node, "a value that is no text");
}

static json_t *read_sequence(struct reader *reader, const yaml_node_t *node, unsigned depth)
{
    json_t *array = json_array();

    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        if (json_array_append_new(array, read_node(reader, *item, depth + 1)) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* The key's text; NULL: it can't be one. Borrowed. */
static const char *key_of(struct reader *reader, const yaml_node_t *key, const json_t *object)
{
    const char *text = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : NULL;

    if (text == NULL || strlen(text) != key->data.scalar.length)
        (void)refuse(reader, key, "a key that is no text");
    else if (strcmp(text, "<<") == 0)
        (void)refuse(reader, key, "a merge key (<<): write its members out");
    else if (json_object_get(object, text) != NULL)
        (void)flowd_fail(reader->err, EINVAL, "line %zu: the key \"%s\" is there twice",
                         key->start_mark.line + 1, text);
    else
        return text;
    return NULL;
}

static json_t *read_mapping(struct reader *reader, const yaml_node_t *node, unsigned depth)
{
    json_t *object = json_object();

    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        const char *name = key_of(reader, key, object);
        json_t *value = name != NULL ? read_node(reader, pair->value, depth + 1) : NULL;

        if (value != NULL && json_object_set_new(object, name, value) < 0) {
            (void)refuse(reader, key, "a key that is no UTF-8");
            value = NULL;
        }
        if (value == NULL) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* Returns owned, NULL: refused, and err says why. */
static json_t *read_node(struct reader *reader, int index, unsigned depth)
{
    const yaml_node_t *node = yaml_document_get_node(reader->document, index);
    const char *tag = (const char *)node->tag;

    if (depth > DEPTH_MAX)
        return refuse(reader, node, "nested too deeply");
    if (++reader->nodes > NODES_MAX)
        return refuse(reader, node, "too large with what its aliases repeat");
    if (tag != NULL && strncmp(tag, CORE_TAG, strlen(CORE_TAG)) != 0)
        return refuse(reader, node, "a tag that configurations do not have");
    switch (node->type) {
    case YAML_SCALAR_NODE:
        return read_scalar(reader, node);
    case YAML_SEQUENCE_NODE:
        return read_sequence(reader, node, depth);
    case YAML_MAPPING_NODE:
        return read_mapping(reader, node, depth);
    case YAML_NO_NODE:
        break;
    }
    return refuse(reader, node, "an empty node");
}

static void refuse_syntax(const yaml_parser_t *parser, struct flowd_error *err)
{
    (void)flowd_fail(err, EINVAL, "line %zu: %s", parser->problem_mark.line + 1,
                     parser->problem != NULL ? parser->problem : "no YAML");
}

/* Whether something follows the first document; -EINVAL: it can't be read. */
static int has_another(yaml_parser_t *parser)
{
    yaml_document_t document;
    bool found;

    if (!yaml_parser_load(parser, &document))
        return -EINVAL;
    found = yaml_document_get_root_node(&document) != NULL;
    yaml_document_delete(&document);
    return found;
}

static json_t *read_document(yaml_parser_t *parser, struct flowd_error *err)
{
    yaml_document_t document;
    struct reader reader = {.document = &document, .err = err};
    json_t *root;
    int another;

    if (!yaml_parser_load(parser, &document)) {
        refuse_syntax(parser, err);
        return NULL;
    }
    if (yaml_document_get_root_node(&document) == NULL) {
        yaml_document_delete(&document);
        return json_null();
    }
    root = read_node(&reader, 1, 0);
    yaml_document_delete(&document);
    another = root != NULL ? has_another(parser) : 0;
    if (another == 0)
        return root;
    if (another < 0)
        refuse_syntax(parser, err);
    else
        (void)flowd_fail(err, EINVAL, "holds more than one document");
    json_decref(root);
    return NULL;
}

json_t *flowd_yaml_parse(const char *text, size_t length, struct flowd_error *err)
{
    yaml_parser_t parser;
    json_t *root;

    if (!yaml_parser_initialize(&parser)) {
        (void)flowd_fail_errno(err, ENOMEM, "YAML");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    root = read_document(&parser, err);
    yaml_parser_delete(&parser);
    return root;
}

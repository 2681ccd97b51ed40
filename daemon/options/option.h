/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option tables: each option of the configuration is declared once, as a row. Parsing, the errors
 * for unknown keys and ranges, `flowd conf` and the manual come from those rows.
 *
 * A section is a JSON object whose keys are the rows of one table and whose values go into one C
 * struct, by offset. A default is written as JSON text and read by the same parser.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/messages.h"

enum flowd_option_type {
    FLOWD_OPTION_BOOL,     /* bool */
    FLOWD_OPTION_INTEGER,  /* int64_t, min..max */
    FLOWD_OPTION_STRING,   /* char *, owned by the struct, never NULL */
    FLOWD_OPTION_CHOICE,   /* int: index into choices (in any case) */
    FLOWD_OPTION_STRINGS,  /* struct flowd_strings */
    FLOWD_OPTION_INTEGERS, /* struct flowd_integers, each in min..max */
    FLOWD_OPTION_PAIRS,    /* struct flowd_pairs: an object whose members are strings */
    FLOWD_OPTION_SECTION,  /* an object with a table of its own, in a struct inside of this one */
    FLOWD_OPTION_MODE,     /* int64_t: permission bits, written as an octal string such as "0660" */
    FLOWD_OPTION_IGNORED,  /* accepted from another program's configuration, without effect */
    FLOWD_OPTION_EMPTY,    /* the same of a string, which must be empty */
    FLOWD_OPTION_LATER,    /* part of the interface, but not in this version: a mistake */
};

/* A list of strings; both levels are owned by the struct that holds it. */
struct flowd_strings {
    char **items;
    size_t count;
};

/* Names and their values, owned by the struct that holds them. */
struct flowd_pair {
    char *name;
    char *value;
};
struct flowd_pairs {
    struct flowd_pair *items;
    size_t count;
};

/* A list of integers, owned by the struct that holds it. */
struct flowd_integers {
    int64_t *items;
    size_t count;
};

/* Another spelling of a choice that still works, with a deprecation line. */
struct flowd_choice_alias {
    const char *name;
    int choice;
};

struct flowd_option {
    const char *key; /* NULL ends a table */
    enum flowd_option_type type;
    size_t offset;
    const char *default_json;           /* the default, as JSON text */
    int64_t min, max;                   /* FLOWD_OPTION_INTEGER; max 0 with min 0: no limits */
    const char *unit;                   /* "ms", "s", ...; NULL: none */
    const char *doc;                    /* one line */
    const char *const *choices;         /* FLOWD_OPTION_CHOICE: NULL-terminated */
    const struct flowd_option *section; /* FLOWD_OPTION_SECTION: offsets in the struct at offset;
                                           the default is "{}". FLOWD_OPTION_STRINGS: what an item
                                           that is an object has, which the module's translate()
                                           makes a string of; NULL: it can't be one */
    const struct flowd_choice_alias *aliases; /* FLOWD_OPTION_CHOICE: ends with a NULL name */
    const char *alias;   /* another spelling of the key that still works; NULL: none. For a list of
                            strings the value there is one string */
    const char *instead; /* FLOWD_OPTION_IGNORED, _EMPTY, and any row of a module's old_options:
                            what there is in its place; may be NULL */
    bool reload;         /* can change while flowd runs */
};

/* Deprecated spellings that were used, one line each; same ownership as mistakes. */
struct flowd_options_report {
    struct flowd_messages errors;
    struct flowd_messages deprecations;
};

/* Frees what the struct's strings and lists own and empties them; the struct is not freed. */
void flowd_options_fini(const struct flowd_option *table, void *values);

/*
 * Reads the members of object (borrowed; NULL: no members) into values, which must be zeroed; what
 * is not given, or is wrong, takes its default. path is the section's ("plugins.api"; "" at the
 * top). Members named in skip (NULL-terminated, may be NULL) belong to somebody else. Every mistake
 * is added to report; values is complete and safe to pass to flowd_options_fini() in any case.
 */
void flowd_options_read(const struct flowd_option *table, const char *path, json_t *object,
                        const char *const *skip, void *values, struct flowd_options_report *report);

/* The values as a JSON object that flowd_options_read() accepts. Returns owned, NULL: no memory. */
json_t *flowd_options_json(const struct flowd_option *table, const void *values);

/*
 * Compares two structs of one table. For each option that differs calls changed(); NULL is not
 * allowed. Used for reloading.
 */
void flowd_options_compare(const struct flowd_option *table, const void *old_values,
                           const void *new_values,
                           void (*changed)(void *context, const struct flowd_option *option),
                           void *context);

/* Copies one option's value, if it has one, between two structs of the same table. Returns 0 or
 * -ENOMEM. */
int flowd_option_copy(const struct flowd_option *option, const void *from, void *to);

/* The entry of names (NULL-terminated) nearest to word, or NULL if none is near. Borrows. */
const char *flowd_option_nearest(const char *word, const char *const *names);

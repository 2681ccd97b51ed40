/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The api plugin: flow events and status over HTTP, on a TCP port and on a unix socket.
 *
 * The server is daemon/http's; router.c finds the handler of a request, submit.c and show.c are the
 * handlers. An answer that says that an event was applied leaves after the hub's commit.
 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/net/address.h"
#include "daemon/net/listen_fds.h"
#include "daemon/options/warnings.h"

extern const struct flowd_module flowd_plugin_api;

static bool is_loopback(const struct flowd_address *address)
{
    return address->family == AF_INET ? address->addr.s6_addr[0] == 127
                                      : IN6_IS_ADDR_LOOPBACK(&address->addr);
}

static bool listens_for_others(const struct api_config *config)
{
    struct flowd_address address;

    return config->bind_port != 0 &&
           (flowd_address_parse(config->bind_address, strlen(config->bind_address), &address) < 0 ||
            !is_loopback(&address));
}

/* Listens on what was handed over. Returns how many sockets that were, or -errno. */
static int listen_on_handed(struct api *api, enum flowd_listen_kind kind,
                            const struct api_config *config, struct flowd_error *err)
{
    const struct flowd_listen_wish wish = {.use = FLOWD_LISTEN_FOR_API,
                                           .kind = kind,
                                           .address = config->bind_address,
                                           .port = (uint16_t)config->bind_port,
                                           .path = config->socket_path};
    const struct flowd_listen_fd *handed;
    int count = 0;

    while ((handed = flowd_listen_fds_take(api->context->listen_fds, &wish)) != NULL) {
        bool local = kind == FLOWD_LISTEN_UNIX;
        int result = flowd_http_server_adopt(api->server, handed->fd, handed->text, local, err);

        if (result < 0)
            return result;
        flowd_info("api", "%s was handed over in place of what is configured", handed->text);
        count++;
    }
    if (kind == FLOWD_LISTEN_TCP && api->tokens.count == 0 &&
        flowd_http_server_is_public(api->server))
        flowd_warning("api", "other hosts can reach the API and no token is asked for: set "
                             "plugins.api.tokenFile");
    return count;
}

/* What was handed over takes the place of what is configured, of each kind. */
static int listen_everywhere(struct api *api, const struct api_config *config,
                             struct flowd_error *err)
{
    int handed, result = 0;

    handed = listen_on_handed(api, FLOWD_LISTEN_TCP, config, err);
    if (handed < 0)
        return handed;
    if (handed == 0 && config->bind_port != 0)
        result = flowd_http_server_listen(api->server, config->bind_address,
                                          (uint16_t)config->bind_port, err);
    handed = result == 0 ? listen_on_handed(api, FLOWD_LISTEN_UNIX, config, err) : result;
    if (handed < 0)
        return handed;
    if (handed == 0 && config->socket_path[0] != '\0')
        result =
            flowd_http_server_listen_unix(api->server, config->socket_path,
                                          (mode_t)config->socket_mode, config->socket_group, err);
    return result;
}

static void api_free(struct api *api)
{
    flowd_http_server_free(api->server);
    api_lists_fini(api);
    api_pending_fini(api);
    api_tokens_fini(&api->tokens);
    free(api);
}

static int api_start(const struct flowd_context *context, const void *config, void **instance,
                     struct flowd_error *err)
{
    const struct api_config *settings = config;
    struct api *api = calloc(1, sizeof(*api));
    int result;

    if (api == NULL)
        return flowd_fail_errno(err, ENOMEM, "api");
    api->context = context;
    api_lists_init(api);
    api->source = flowd_hub_source(context->hub, flowd_plugin_api.name);
    result = api->source != NULL ? 0 : flowd_fail_errno(err, ENOMEM, "api");
    if (result == 0)
        result = api_tokens_read(settings->token_file, &api->tokens, err);
    if (result == 0)
        result = flowd_http_server_new(context->loop, FLOWD_LOG_PATH("api"), &api_http_handler, api,
                                       &api->server, err);
    if (result == 0)
        result = listen_everywhere(api, settings, err);
    if (result < 0) {
        api_free(api);
        return result;
    }
    *instance = api;
    return 0;
}

static int api_reload(void *instance, const void *config, struct flowd_error *err)
{
    const struct api_config *settings = config;
    struct api *api = instance;
    struct api_tokens tokens;
    int result = api_tokens_read(settings->token_file, &tokens, err);

    if (result < 0)
        return result;
    api_tokens_fini(&api->tokens);
    api->tokens = tokens;
    return 0;
}

static void api_stop(void *instance)
{
    api_free(instance);
}

static int api_ready(const void *instance, struct flowd_error *err)
{
    const struct api *api = instance;

    return flowd_http_server_ready(api->server, err);
}

static void api_status(const void *instance, json_t *object)
{
    const struct api *api = instance;

    flowd_http_server_listeners(api->server, object);
}

static void api_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct api *api = instance;

    flowd_http_server_count(api->server, sink);
}

static void api_check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct api_config *api = config;
    struct flowd_address address;

    if (flowd_address_parse(api->bind_address, strlen(api->bind_address), &address) < 0)
        flowd_messages_add(errors, "%s.bindAddress: found \"%s\", wants a numeric address", path,
                           api->bind_address);
    if (strlen(api->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        flowd_messages_add(errors, "%s.socketPath: is longer than %zu bytes", path,
                           sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    if (api->bind_port == 0 && api->socket_path[0] == '\0')
        flowd_messages_add(errors, "%s: bindPort is 0 and socketPath empty: nothing to listen on",
                           path);
}

static void api_warn(const void *config, const char *path,
                     const struct flowd_environment *environment, struct flowd_messages *warnings)
{
    const struct api_config *api = config;
    char option[64];

    if (listens_for_others(api) && api->token_file[0] == '\0')
        flowd_messages_add(warnings,
                           "%s.tokenFile: other hosts can reach the API and no token is asked for",
                           path);
    /* Of `flowd check`, by whoever types it: a start says the same and ends. */
    if (environment->host != NULL && api->token_file[0] != '\0' &&
        access(api->token_file, R_OK) != 0)
        flowd_messages_add(warnings, "%s.tokenFile: %s: %s%s; flowd does not start without it",
                           path, api->token_file, strerror(errno),
                           errno == EACCES ? flowd_error_remedy() : "");
    /* The default mode is for whoever runs flowctl as root. */
    if (api->socket_path[0] != '\0' && api->socket_group[0] != '\0') {
        snprintf(option, sizeof(option), "%s.socketMode", path);
        flowd_warnings_access(api->socket_mode, api->socket_group, option, warnings);
    }
    if (environment->host != NULL && api->bind_port != 0) {
        snprintf(option, sizeof(option), "%s.bindAddress", path);
        flowd_warnings_address(api->bind_address, option, environment->host, warnings);
    }
}

#define AT(field) offsetof(struct api_config, field)

static const struct flowd_option options[] = {
    {.key = "bindAddress",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(bind_address),
     .default_json = "\"127.0.0.1\"",
     .doc = "Address that the API listens on; \"::\" is both families."},
    {.key = "bindPort",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(bind_port),
     .default_json = "7777",
     .min = 0,
     .max = UINT16_MAX,
     .doc = "TCP port; 0: no TCP socket."},
    {.key = "socketPath",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(socket_path),
     .default_json = "\"\"",
     .doc = "Unix socket that the API listens on; empty: none."},
    {.key = "socketMode",
     .type = FLOWD_OPTION_MODE,
     .offset = AT(socket_mode),
     .default_json = "\"0660\"",
     .doc = "Permissions of the unix socket."},
    {.key = "socketGroup",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(socket_group),
     .default_json = "\"\"",
     .doc = "Group (name or number) of the unix socket; empty: flowd's own."},
    {.key = "tokenFile",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(token_file),
     .default_json = "\"\"",
     .doc = "File with a bearer token a line; requests need one of them. Empty: no token needed.",
     .reload = true},
    {.key = NULL},
};

const struct flowd_module flowd_plugin_api = {
    .kind = FLOWD_PLUGIN,
    .name = "api",
    .summary = "the HTTP API",
    .options = options,
    .config_size = sizeof(struct api_config),
    .check = api_check,
    .warn = api_warn,
    .start = api_start,
    .reload = api_reload,
    .stop = api_stop,
    .ready = api_ready,
    .status = api_status,
    .count = api_count,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange with the API: the client fetches, jansson reads, and a refusal gives the reason that
 * the API put into its answer.
 */
#include "request.h"

#include <errno.h>

/* The reason in a problem (RFC 9457), or its title. */
static const char *reason_of(const json_t *problem)
{
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *title = json_string_value(json_object_get(problem, "title"));

    return detail != NULL ? detail : title != NULL ? title : "no reason given";
}

int request_json(const struct client_endpoint *endpoint, const char *method, const char *path,
                 const char *body, json_t **out, struct flowd_error *err)
{
    struct flowd_text answer = {0};
    int status = 0;
    int result;

    *out = NULL;
    result = client_request(endpoint, method, path, body, &status, &answer, err);
    if (result == 0) {
        *out = json_loadb(answer.data != NULL ? answer.data : "", answer.length, JSON_DECODE_ANY,
                          NULL);
        if (*out == NULL && (status != 204 || answer.length > 0))
            result = flowd_fail(err, EPROTO, "status %d and no JSON: not flowd's API?", status);
        else if (status < 200 || status > 299)
            result = flowd_fail(err, status == 401 ? EPERM : EREMOTEIO, "%s", reason_of(*out));
    }
    flowd_text_fini(&answer);
    return result;
}

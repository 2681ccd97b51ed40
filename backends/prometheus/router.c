/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths of the metrics' server: /metrics, which begins a scrape, and a page at / that links
 * to it, for whoever opens the address in a browser.
 */
#include <string.h>

#include "prometheus.h"

static bool is_path(const struct flowd_http_request *request, const char *path)
{
    return request->path.length == strlen(path) &&
           memcmp(request->path.data, path, request->path.length) == 0;
}

/* Whether the request can be served; false: it has been answered. */
static bool router_admit(void *context, struct flowd_http_exchange *exchange,
                         const struct flowd_http_request *request)
{
    (void)context;
    if (!is_path(request, "/metrics") && !is_path(request, "/")) {
        flowd_http_answer_problem(exchange, 404, NULL, NULL,
                                  "there is nothing at this path; the metrics are at /metrics");
        return false;
    }
    if (request->method != FLOWD_HTTP_GET && request->method != FLOWD_HTTP_HEAD) {
        flowd_http_answer_problem(exchange, 405, "Allow: GET, HEAD\r\n", NULL,
                                  "the path does not take this method");
        return false;
    }
    return true;
}

static void router_handle(void *context, struct flowd_http_exchange *exchange,
                          const struct flowd_http_request *request)
{
    static const char page[] =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta "
        "charset=\"utf-8\"><title>flowd</title></head>\n"
        "<body><p>flowd " FLOWD_VERSION ": <a href=\"/metrics\">/metrics</a></p></body></html>\n";

    if (!router_admit(context, exchange, request))
        return;
    if (is_path(request, "/metrics"))
        prometheus_scrape(context, exchange, request);
    else
        flowd_http_answer_bytes(exchange, 200, "text/html; charset=utf-8", NULL, page,
                                sizeof(page) - 1);
}

/* No exchange is kept: a scrape is a stream, which is told when it is over. */
static void cancel(void *context, struct flowd_http_exchange *exchange)
{
    (void)context;
    (void)exchange;
}

const struct flowd_http_handler prometheus_http_handler = {
    .admit = router_admit,
    .handle = router_handle,
    .cancel = cancel,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of connections over the fake kernel.
 */
#include "liveness_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/tcp.h>

#include "daemon/hub/hub.h"
#include "daemon/liveness/liveness.h"
#include "daemon/tcp/tcp_sample.h"
#include "fake_kernel.h"
#include "lab/sample_flow.h"

struct hub_fixture fixture;
struct flowd_context context;
struct flowd_liveness *liveness;
struct flowd_source *close_source;
struct flowd_source *follower;

int liveness_fixture_open(void **state)
{
    (void)state;
    hub_fixture_open(&fixture, "", 100);
    fixture.first.quiet = fixture.second.quiet = true;
    fixture.first.at_end = NULL;
    context = (struct flowd_context){.loop = fixture.loop, .hub = fixture.hub};
    fake_kernel_reset();
    liveness = flowd_liveness_new(&context);
    assert_non_null(liveness);
    context.liveness = liveness;
    close_source = flowd_hub_source(fixture.hub, "close");
    follower = flowd_hub_source(fixture.hub, "follower");
    assert_true(close_source != NULL && follower != NULL);
    follower->follows_sockets = true;
    return 0;
}

int liveness_fixture_close(void **state)
{
    (void)state;
    flowd_liveness_free(liveness);
    hub_fixture_close(&fixture);
    return 0;
}

void announce(struct flowd_source *source, uint32_t number)
{
    const struct flowd_event event = sample_event(number);

    assert_int_equal(flowd_hub_submit(fixture.hub, source, &event, NULL, NULL), FLOWD_STARTED);
}

bool is_live(uint32_t number)
{
    const struct flowd_flow_key key = sample_key(number);
    const struct flowd_flow *flow = flowd_hub_find_key(fixture.hub, &key);

    return flow != NULL && flow->state == FLOWD_FLOW_LIVE;
}

void tell(struct flowd_source *source, uint32_t number, bool of_destination)
{
    const struct flowd_flow_key key = sample_key(number);
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(&key);
    const struct flowd_tcp_sample sample = {
        .state = TCP_CLOSE, .cookie = COOKIE, .info.bytes_sent = of_destination ? 1 : BYTES};

    flowd_liveness_closed(liveness, source, of_destination ? &reverse : &key, &sample);
}

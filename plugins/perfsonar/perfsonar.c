/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The perfsonar plugin: one tag for everything that a measurement host sends.
 *
 * It announces no flow, so nothing is reported of it. It names the tag; the marker writes it into
 * packets that are of no live flow.
 */
#include "daemon/base/log.h"
#include "daemon/hub/module.h"

extern const struct flowd_module flowd_plugin_perfsonar;

struct perfsonar_config {
    int64_t experiment;
    int64_t activity;
};

#define AT(member) offsetof(struct perfsonar_config, member)
static const struct flowd_option options[] = {
    {.key = "experimentId",
     .alias = "experimentID",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(experiment),
     .default_json = "0",
     .min = 0,
     .max = FLOWD_EXPERIMENT_MAX,
     .doc = "Experiment of every packet that is of no flow."},
    {.key = "activityId",
     .alias = "activityID",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(activity),
     .default_json = "0",
     .min = 0,
     .max = FLOWD_ACTIVITY_MAX,
     .doc = "Activity of every packet that is of no flow."},
    {.key = NULL},
};

static void share(void *values, const char *path, struct flowd_shared *shared,
                  struct flowd_messages *errors)
{
    const struct perfsonar_config *config = values;

    (void)path;
    (void)errors;
    shared->general_tag_plugin = &flowd_plugin_perfsonar;
    shared->general_tag = (struct flowd_tag){
        .experiment = (uint16_t)config->experiment,
        .activity = (uint8_t)config->activity,
    };
}

static int perfsonar_start(const struct flowd_context *context, const void *config, void **instance,
                           struct flowd_error *err)
{
    const struct perfsonar_config *values = config;

    (void)context;
    (void)err;
    flowd_info("perfsonar", "packets of no flow get experiment %lld, activity %lld",
               (long long)values->experiment, (long long)values->activity);
    *instance = (void *)config;
    return 0;
}

static void perfsonar_stop(void *instance)
{
    (void)instance;
}

const struct flowd_module flowd_plugin_perfsonar = {
    .kind = FLOWD_PLUGIN,
    .name = "perfsonar",
    .summary = "marks every packet that leaves",
    .options = options,
    .config_size = sizeof(struct perfsonar_config),
    .share = share,
    .start = perfsonar_start,
    .stop = perfsonar_stop,
};

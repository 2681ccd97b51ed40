# SPDX-License-Identifier: Apache-2.0
# Load for the HTTP API: http_load.c.

add_executable(http_load http_load.c)
target_link_libraries(http_load PRIVATE flowd_rooms flowd_flags)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of another flowd on the interfaces that this one is to mark on.
 */
#pragma once

struct marker_attach;

/*
 * Warns of each target interface that has one. What an earlier process of the same pinPath left is
 * none: its program has one of the pinned maps, or its link is pinned. It is for the start, since
 * later flowd may lack the right to ask for programs; what may not be asked for draws no warning.
 */
void marker_others_warn(const struct marker_attach *attach);

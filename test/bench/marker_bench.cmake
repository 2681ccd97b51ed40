# The marker's benchmark shares its packets and its loader with the BPF tests.

add_executable(marker_bench marker_bench.c)
target_link_libraries(marker_bench PRIVATE flowd_test_marker_program flowd_flags)

# SPDX-License-Identifier: Apache-2.0
# flowd_add_unit_test(NAME SOURCES ... [LIBRARIES ...]): a cmocka program, run by ctest under the
# label "unit" with the test data's directory in FLOWD_TEST_DATA.

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

function(flowd_add_cmocka_test label name)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "SOURCES;LIBRARIES")
  set(target test_${label}_${name})
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES} PkgConfig::CMOCKA flowd_flags)
  target_compile_definitions(${target} PRIVATE FLOWD_TEST_DATA="${PROJECT_SOURCE_DIR}/test/data")
  add_test(NAME ${label}/${name} COMMAND ${target})
  set_tests_properties(${label}/${name} PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()

function(flowd_add_unit_test name)
  flowd_add_cmocka_test(unit ${name} ${ARGN})
  target_link_libraries(test_unit_${name} PRIVATE flowd_unit_lab)
endfunction()

# A test that needs root; it exits with 77 where it can't run, and says why.
function(flowd_add_bpf_test name)
  flowd_add_cmocka_test(bpf ${name} ${ARGN})
  set_tests_properties(bpf/${name} PROPERTIES SKIP_RETURN_CODE 77)
endfunction()

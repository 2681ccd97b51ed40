# SPDX-License-Identifier: Apache-2.0
# flowd_add_plugin(NAME SOURCES ... [LIBRARIES ...]), flowd_add_backend(...), flowd_add_enricher(...):
# one directory, one target, one exported symbol: flowd_plugin_NAME, flowd_backend_NAME or
# flowd_enricher_NAME. flowd_add_program(NAME) links a flowd with all those that were added before it,
# which a generated file lists.
#
# flowd_add_extra_modules() adds the directories in FLOWD_EXTRA_MODULES, which may lie anywhere.

function(flowd_add_module kind name)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "SOURCES;LIBRARIES")
  set(target flowd_${kind}_${name})
  flowd_add_library(${target} SOURCES ${arg_SOURCES} USES flowd_rooms ${arg_LIBRARIES})
  # Log lines bear the module's path in the configuration.
  target_compile_definitions(${target} PRIVATE FLOWD_LOG_SECTION="${kind}s.")
  set_property(GLOBAL APPEND PROPERTY FLOWD_MODULES ${target})
endfunction()

function(flowd_add_plugin name)
  flowd_add_module(plugin ${name} ${ARGN})
endfunction()

function(flowd_add_backend name)
  flowd_add_module(backend ${name} ${ARGN})
endfunction()

function(flowd_add_enricher name)
  flowd_add_module(enricher ${name} ${ARGN})
endfunction()

function(flowd_add_extra_modules)
  foreach(directory ${FLOWD_EXTRA_MODULES})
    cmake_path(ABSOLUTE_PATH directory BASE_DIRECTORY ${PROJECT_SOURCE_DIR} NORMALIZE)
    string(REGEX REPLACE "/$" "" directory "${directory}")
    cmake_path(GET directory FILENAME name)
    add_subdirectory(${directory} ${PROJECT_BINARY_DIR}/extra/${name})
  endforeach()
endfunction()

function(flowd_add_program program)
  get_property(modules GLOBAL PROPERTY FLOWD_MODULES)
  set(declarations "")
  set(entries "")
  foreach(module ${modules})
    string(APPEND declarations "extern const struct flowd_module ${module};\n")
    string(APPEND entries "    &${module},\n")
  endforeach()
  file(
    CONFIGURE
    OUTPUT ${PROJECT_BINARY_DIR}/${program}_modules.c
    CONTENT
      "#include \"daemon/hub/module.h\"\n\n@declarations@\nconst struct flowd_module *const flowd_modules[] = {\n@entries@    NULL,\n};\n"
    @ONLY)
  add_executable(${program} ${PROJECT_SOURCE_DIR}/daemon/main.c
                            ${PROJECT_BINARY_DIR}/${program}_modules.c)
  target_link_libraries(${program} PRIVATE flowd_program ${modules} flowd_flags)
  flowd_link_statically(${program})
endfunction()

function(flowd_add_daemon)
  flowd_add_program(flowd)
  install(TARGETS flowd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
endfunction()

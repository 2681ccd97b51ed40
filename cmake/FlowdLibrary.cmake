# SPDX-License-Identifier: Apache-2.0
# flowd_add_library(TARGET SOURCES ... [USES ...] [NEEDS ...]): one folder, one static library.
#
# USES are the libraries that its headers stand on, too; NEEDS those that its sources alone do. It
# may include headers of its own folder and of theirs, and no other of the project's: the build
# fails at an include of another room, so that rooms stay in their order.

set(FLOWD_CHECK_INCLUDES ${CMAKE_CURRENT_LIST_DIR}/CheckIncludes.cmake)

# The folders whose headers come with these libraries.
function(flowd_folders_of out)
  set(folders "")
  foreach(library ${ARGN})
    get_target_property(more ${library} FLOWD_FOLDERS)
    if(more)
      list(APPEND folders ${more})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES folders)
  set(${out}
      "${folders}"
      PARENT_SCOPE)
endfunction()

function(flowd_check_includes target sources folders)
  file(GLOB headers CONFIGURE_DEPENDS *.h)
  set(files ${headers})
  foreach(source ${sources})
    if(NOT IS_ABSOLUTE ${source})
      list(APPEND files ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    endif()
  endforeach()
  set(stamp ${CMAKE_CURRENT_BINARY_DIR}/${target}.includes)
  list(JOIN files "," files_word)
  list(JOIN folders "," folders_word)
  add_custom_command(
    OUTPUT ${stamp}
    COMMAND ${CMAKE_COMMAND} -DFILES=${files_word} -DFOLDERS=${folders_word} -DSTAMP=${stamp} -P
            ${FLOWD_CHECK_INCLUDES}
    DEPENDS ${files} ${FLOWD_CHECK_INCLUDES}
    COMMENT "Checking what ${target} includes"
    VERBATIM)
  target_sources(${target} PRIVATE ${stamp})
endfunction()

function(flowd_add_library target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES;NEEDS")
  add_library(${target} STATIC ${arg_SOURCES})
  target_link_libraries(
    ${target}
    PUBLIC ${arg_USES}
    PRIVATE ${arg_NEEDS} flowd_flags)
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  flowd_folders_of(used ${arg_USES})
  flowd_folders_of(needed ${arg_NEEDS})
  set_target_properties(${target} PROPERTIES FLOWD_FOLDERS "${folder};${used}")
  flowd_check_includes(${target} "${arg_SOURCES}" "${folder};${used};${needed}")
endfunction()

# SPDX-License-Identifier: Apache-2.0
# cmake -DFILES=A,B -DFOLDERS=C,D -DSTAMP=E -P CheckIncludes.cmake: fails if one of the files includes
# a header by a path from the root whose folder is not among the folders, and writes E if none does.
cmake_minimum_required(VERSION 3.25)

set(root ${CMAKE_CURRENT_LIST_DIR}/..)
string(REPLACE "," ";" files "${FILES}")
string(REPLACE "," ";" folders "${FOLDERS}")
set(wrong "")
foreach(file ${files})
  file(STRINGS ${file} lines REGEX "^ *# *include *[<\"][^>\"]*/")
  foreach(line ${lines})
    string(REGEX MATCH "([<\"])([^>\"]*)/([^/>\"]*)[>\"]" include "${line}")
    set(folder "${CMAKE_MATCH_2}")
    # The compiler finds headers of the project in angle brackets too.
    if(CMAKE_MATCH_1 STREQUAL "<" AND NOT EXISTS ${root}/${folder}/${CMAKE_MATCH_3})
      continue()
    endif()
    if(NOT folder IN_LIST folders)
      string(APPEND wrong "\n  ${file}: ${line}")
    endif()
  endforeach()
endforeach()
if(wrong)
  message(FATAL_ERROR "includes that the library's USES and NEEDS do not cover:${wrong}")
endif()
file(WRITE ${STAMP} "")

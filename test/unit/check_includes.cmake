# SPDX-License-Identifier: Apache-2.0
# cmake -DCHECK=cmake/CheckIncludes.cmake -DPLACE=directory -P check_includes.cmake: what the check of
# includes lets pass and what it refuses.
cmake_minimum_required(VERSION 3.25)

function(expect outcome line)
  file(WRITE ${PLACE}/checked.c "#include <stdio.h>\n#include \"own.h\"\n${line}\n")
  file(REMOVE ${PLACE}/stamp)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -DFILES=${PLACE}/checked.c -DFOLDERS=daemon/net,daemon/base
            -DSTAMP=${PLACE}/stamp -P ${CHECK}
    RESULT_VARIABLE status
    OUTPUT_QUIET ERROR_VARIABLE message)
  set(found refused)
  if(status EQUAL 0 AND EXISTS ${PLACE}/stamp)
    set(found passed)
  elseif(NOT message MATCHES "checked.c")
    message(FATAL_ERROR "no word on the file: ${message}")
  endif()
  if(NOT found STREQUAL outcome)
    message(FATAL_ERROR "${line}: ${found}")
  endif()
endfunction()

file(MAKE_DIRECTORY ${PLACE})
expect(passed "#include \"daemon/net/host.h\"")
expect(passed "#include \"daemon/base/log.h\" /* why */")
expect(passed "#include <sys/socket.h>")
expect(passed "#include <daemon/base/log.h>")
expect(refused "#include <daemon/hub/hub.h>")
expect(refused " # include  \"daemon/hub/hub.h\"")
expect(refused "#include \"daemon/hub/hub.h\"")
expect(refused "#include \"daemon/daemon.h\"")
expect(refused "#include \"plugins/fifo/line.h\"")
expect(refused "#include \"daemon/net/below/host.h\"")
expect(refused "#include \"daemon/base/log.h\"\n#include \"daemon/hub/hub.h\"")
file(REMOVE_RECURSE ${PLACE})

# flowd_flags: the warnings, hardening and sanitizers that every target of the project is built with.

add_library(flowd_flags INTERFACE)
target_compile_options(
  flowd_flags
  INTERFACE -Wall
            -Wextra
            -Wshadow
            -Wconversion
            -Wmissing-prototypes
            -Wformat=2
            -Wvla
            -fno-common
            -fstack-protector-strong
            $<$<BOOL:${FLOWD_WERROR}>:-Werror>)
target_compile_definitions(
  flowd_flags
  INTERFACE _GNU_SOURCE FLOWD_VERSION="${PROJECT_VERSION}"
            $<$<AND:$<NOT:$<BOOL:${FLOWD_SANITIZE}>>,$<NOT:$<CONFIG:Debug>>>:_FORTIFY_SOURCE=2>)
target_link_options(flowd_flags INTERFACE -Wl,-z,relro -Wl,-z,now)

if(FLOWD_SANITIZE)
  target_compile_options(
    flowd_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
                          -fno-omit-frame-pointer)
  target_link_options(flowd_flags INTERFACE -fsanitize=address,undefined)
endif()
if(FLOWD_FUZZ)
  target_compile_options(flowd_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Headers are included as "daemon/flow.h" or "ebpf/marker.h" through directories that hold one link
# each, so that a target sees the rooms it names and no other.
function(flowd_expose room)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include/${room})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${room} ${PROJECT_BINARY_DIR}/include/${room}/${room}
       SYMBOLIC)
  add_library(flowd_headers_${room} INTERFACE)
  target_include_directories(flowd_headers_${room}
                             INTERFACE ${PROJECT_BINARY_DIR}/include/${room})
endfunction()
flowd_expose(daemon)
flowd_expose(ebpf)
flowd_expose(loader)
flowd_expose(sockops)

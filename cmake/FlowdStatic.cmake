# SPDX-License-Identifier: Apache-2.0
# flowd_link_statically(TARGET): with FLOWD_STATIC, makes one position-independent file of a program,
# without any shared library and without what would load one. The libcurl for it is the one that
# packaging/static/libcurl has put into FLOWD_STATIC_LIBCURL; without it the programs have no http
# client, and say so.

set(FLOWD_STATIC_LIBCURL ${PROJECT_BINARY_DIR}/libcurl CACHE PATH "Where packaging/static/libcurl built into")
if(FLOWD_STATIC)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  if(EXISTS ${FLOWD_STATIC_LIBCURL}/lib/libcurl.a)
    pkg_check_modules(OPENSSL REQUIRED libssl libcrypto)
    set(CURL_INCLUDE_DIRS ${FLOWD_STATIC_LIBCURL}/include)
    set(CURL_STATIC_LDFLAGS ${FLOWD_STATIC_LIBCURL}/lib/libcurl.a ${OPENSSL_STATIC_LDFLAGS} PkgConfig::CARES)
    set(FLOWD_HAS_LIBCURL ON)
  else()
    message(WARNING "${FLOWD_STATIC_LIBCURL} has no libcurl: these programs will have no http client. "
                    "make static builds one (packaging/static/libcurl)")
    set(FLOWD_HAS_LIBCURL OFF)
  endif()
endif()

function(flowd_link_statically target)
  if(FLOWD_STATIC)
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/daemon/base/static_libc.c)
    # The map says what is inside: packaging/container/sbom.
    target_link_options(${target} PRIVATE -static-pie -Wl,-Map=$<TARGET_FILE:${target}>.map)
  endif()
endfunction()

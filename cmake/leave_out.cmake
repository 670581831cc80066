# leave_out(FAILED REASON): installs the reason why there is no C++ engine, for `babygrad devices`; the
# caller returns. FAILED is True where an engine was to be expected: the first use of `cpu` then warns.
# With BABYGRAD_REQUIRE_CPP=1, as in continuous integration, the build fails instead.
function(leave_out failed reason)
    if("$ENV{BABYGRAD_REQUIRE_CPP}")
        message(FATAL_ERROR "babygrad: ${reason}; BABYGRAD_REQUIRE_CPP is set")
    endif()
    message(WARNING "babygrad: cpu:cpp is left out: ${reason}")
    # The next installation from this folder looks for a compiler, and at it, anew.
    unset(CMAKE_CXX_COMPILER CACHE)
    unset(BABYGRAD_PLATFORM CACHE)
    file(REMOVE_RECURSE "${CMAKE_BINARY_DIR}/CMakeFiles/${CMAKE_VERSION}")
    install_reason(${failed} "${reason}")
endfunction()

function(install_reason failed reason)
    string(REPLACE "\\" "\\\\" text "${reason}")
    string(REPLACE "\"" "\\\"" text "${text}")
    set(module "${CMAKE_CURRENT_BINARY_DIR}/_core_missing.py")
    file(WRITE "${module}" "REASON = \"${text}\"\nFAILED = ${failed}\n")
    install(FILES "${module}" DESTINATION babygrad)
endfunction()

# The first error in a compiler's messages, as far as there is one.
function(first_error variable file)
    set(line "")
    if(EXISTS "${file}")
        file(STRINGS "${file}" line REGEX "[Ee]rror" LIMIT_COUNT 1 ENCODING UTF-8)
        string(REPLACE "${CMAKE_CURRENT_SOURCE_DIR}/" "" line "${line}")
        string(REPLACE "\\;" ";" line "${line}")
        string(STRIP "${line}" line)
    endif()
    if(line STREQUAL "")
        set(line "pip install -v . shows its messages")
    endif()
    set(${variable} "${line}" PARENT_SCOPE)
endfunction()

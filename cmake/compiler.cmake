# Warnings are errors with gcc and clang; release is hardened; sanitizers and failpoints by option.
add_library(boxrelay_warnings INTERFACE)
target_compile_options(boxrelay_warnings INTERFACE
    -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
    -Wvla -Wformat=2 -Wundef -Wcast-qual -Wno-missing-field-initializers)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # Texts for people are cut at their maximum on purpose, by snprintf.
    target_compile_options(boxrelay_warnings INTERFACE -Wno-format-truncation)
endif()
target_compile_definitions(boxrelay_warnings INTERFACE _GNU_SOURCE)

if(BOXRELAY_FAULTS)
    add_compile_definitions(BOXRELAY_FAULTS)
endif()

if(BOXRELAY_SANITIZE)
    add_compile_options(-fsanitize=${BOXRELAY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${BOXRELAY_SANITIZE})
else()
    add_compile_options(-fstack-protector-strong -fstack-clash-protection)
    add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

# Assertions guard our own invariants and stay on in release builds.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
set(CMAKE_C_FLAGS_DEBUG "-Og -g")

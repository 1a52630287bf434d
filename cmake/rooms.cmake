# Rooms: one static library per folder of relay/, which sees only its own headers and those of the rooms that it may
# use. A header folder is linked into build/<preset>/headers/<room>/<room>, and only the roots of permitted rooms are
# on the include path: an upward #include does not compile, an upward call does not link in the room's unit tests.

# room(<name> [USES <rooms below>...] [LIBS <imported targets>...] [GENERATED <sources>...])
function(room name)
    cmake_parse_arguments(ROOM "" "" "USES;LIBS;GENERATED" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/relay/${name}/*.c)
    list(FILTER sources EXCLUDE REGEX "/main\\.c$")
    if(NOT sources AND NOT ROOM_GENERATED)
        file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/empty_${name}.c CONTENT "extern int empty_room;\n")
        set(sources ${CMAKE_BINARY_DIR}/empty_${name}.c)
    endif()
    add_library(room_${name} STATIC ${sources} ${ROOM_GENERATED})
    set(root ${CMAKE_BINARY_DIR}/headers/${name})
    file(MAKE_DIRECTORY ${root})
    if(EXISTS ${CMAKE_SOURCE_DIR}/include/${name})
        file(CREATE_LINK ${CMAKE_SOURCE_DIR}/include/${name} ${root}/${name} SYMBOLIC)
        target_include_directories(room_${name} PUBLIC ${root})
    endif()
    target_include_directories(room_${name} PRIVATE ${CMAKE_SOURCE_DIR}/relay/${name} ${CMAKE_BINARY_DIR}/generated/${name})
    foreach(used ${ROOM_USES})
        target_link_libraries(room_${name} PUBLIC room_${used})
    endforeach()
    # PRIVATE: a room above neither sees nor needs the library's headers; the linker still gets it.
    target_link_libraries(room_${name} PRIVATE ${ROOM_LIBS} boxrelay_warnings)
    headers_alone(${name})
endfunction()

# Each public header compiles on its own, seen from its own room.
function(headers_alone name)
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/${name}/*.h)
    set(units)
    foreach(header ${headers})
        get_filename_component(base ${header} NAME_WE)
        set(unit ${CMAKE_BINARY_DIR}/headers/${name}/alone_${base}.c)
        file(CONFIGURE OUTPUT ${unit} CONTENT "#include \"${name}/${base}.h\"\n#include \"${name}/${base}.h\"\n")
        list(APPEND units ${unit})
    endforeach()
    if(units)
        add_library(headers_${name} OBJECT ${units})
        target_link_libraries(headers_${name} PRIVATE room_${name} boxrelay_warnings)
    endif()
endfunction()

# embed(<output .c> <output .h> <guard> <files>...): each file becomes `const char sql_<name>[]`, NUL-terminated.
function(embed source header)
    add_custom_command(
        OUTPUT ${source} ${header}
        COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DHEADER=${header} "-DFILES=${ARGN}" -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
        DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
        COMMENT "Embedding SQL" VERBATIM)
endfunction()

# embed_migrations(<output .c> <files>...): the table of migrations by rising number, the lists of their objects, and
# grants.sql.
function(embed_migrations source)
    add_custom_command(
        OUTPUT ${source}
        COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} "-DFILES=${ARGN}" -P ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake
        DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake
        COMMENT "Embedding migrations" VERBATIM)
endfunction()

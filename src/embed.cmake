# Writes a C file that holds files as arrays of bytes; see src/script/embedded.h for its shape.
#
#   cmake -DOUT=np_embedded.c -DROOT=lua -DLIST=files.txt -P embed.cmake
#
# LIST is a file with one path a line; a path is named in the table as it stands below ROOT. The table is
# np_embedded_files, or as -DTABLE=name says, and its length np_embedded_count, or name_count. With
# -DSYMBOL=name -DFILE=path, that one file becomes `name` and its length `name_bytes`.

if(SYMBOL)
  file(SIZE "${FILE}" size)
  file(READ "${FILE}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  file(WRITE "${OUT}" "/* Made by src/embed.cmake; changes here are lost. */\n#include <stddef.h>\n\n\
extern const unsigned char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_bytes;\n\n\
const unsigned char ${SYMBOL}[] = {${bytes}};\nconst size_t ${SYMBOL}_bytes = ${size};\n")
  return()
endif()

set(count "${TABLE}_count")
if(NOT TABLE)
  set(TABLE np_embedded_files)
  set(count np_embedded_count)
endif()

file(STRINGS "${LIST}" paths)
list(SORT paths)

set(arrays "")
set(rows "")
set(number 0)
foreach(path IN LISTS paths)
  file(RELATIVE_PATH name "${ROOT}" "${path}")
  file(SIZE "${path}" size)
  file(READ "${path}" hex HEX)
  # 16 bytes a line.
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REPEAT "0x[0-9a-f][0-9a-f]," 16 line)
  string(REGEX REPLACE "(${line})" "    \\1\n" bytes "${bytes}")
  if(size EQUAL 0)
    set(bytes "0") # C has no empty arrays
  endif()
  string(APPEND arrays "/* ${name} */\nstatic const unsigned char file_${number}[] = {\n${bytes}\n};\n\n")
  string(APPEND rows "    {\"${name}\", file_${number}, ${size}},\n")
  math(EXPR number "${number} + 1")
endforeach()

set(text "/* Made by src/embed.cmake; changes here are lost. */\n#include \"script/embedded.h\"\n\n")
string(APPEND text "${arrays}")
string(APPEND text "extern const struct np_embedded_file ${TABLE}[];\nextern const size_t ${count};\n\n")
string(APPEND text "const struct np_embedded_file ${TABLE}[] = {\n${rows}    {NULL, NULL, 0},\n};\n\n")
string(APPEND text "const size_t ${count} = ${number};\n")
file(WRITE "${OUT}" "${text}")

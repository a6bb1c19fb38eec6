#!/usr/bin/env bash
# Holds the sources to the floors of src/: a file includes its own folder or a lower floor, never
# a sibling wing and never up; cli/ knows the engine by its public header alone; and each foreign
# library is known to one room. Tests may include what they like.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t sources < <(files '*.[ch]' src include)

faults=0
looked=${#sources[@]}
if [ "$looked" -gt 0 ]; then
    awk '
    BEGIN {
        floor["base"] = 0; floor["model"] = 1; floor["engine"] = 3; floor["cli"] = 4
        n = split("http provider script guard ledger metrics sim", wing, " ")
        for (i = 1; i <= n; i++) floor[wing[i]] = 2

        # A header that matches belongs to the room.
        owner["^microhttpd"] = "http"
        owner["^gnutls/"] = "http"
        owner["^curl/"] = "provider"
        owner["^(lua|lauxlib|lualib|luaconf|lua-cjson)[.0-9]*(/.*)?(\\.h|\\.hpp)?$"] = "script"
        owner["^(sqlite3|hiredis)"] = "ledger"
        owner["^openssl/(crypto|evp|rand|sha)\\.h"] = "base"
        owner["^openssl/(err|ssl|x509)"] = "ledger"
        owner["^(readline|editline)/|^(histedit|linenoise)"] = "cli"
    }
    function problem(text) {
        printf "%s:%d: %s\n", FILENAME, FNR, text
        faults++
    }
    FNR == 1 {
        count = split(FILENAME, part, "/")
        room = part[1] == "include" ? "include" : (count > 2 ? part[2] : "")
        if (room == "") problem("lies in no room of src/")
        else if (room != "include" && !(room in floor)) { problem("lies in " room "/, which is no room of src/"); room = "" }
        if (part[1] == "src" && count > 3) problem("lies more than one folder deep in src/")
    }
    /^[ \t]*#[ \t]*include[ \t]*[<"]/ {
        header = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*[<"]/, "", header)
        sub(/[>"].*$/, "", header)
        if (room == "") next

        for (pattern in owner)
            if (header ~ pattern && owner[pattern] != room)
                problem(header " is for " owner[pattern] "/ alone")

        if (header ~ /^\.\.?\//) { problem(header ": a header is named from src/, as \"base/span.h\""); next }
        if (header ~ /^neap\//) {
            if (room != "engine" && room != "cli" && room != "include")
                problem("only engine/ and cli/ know the public header " header)
            next
        }
        slash = index(header, "/")
        there = slash ? substr(header, 1, slash - 1) : ""
        if (there == "" && $0 ~ /"/) {
            problem("\"" header "\": a header of ours is named with its room, as \"base/span.h\"")
            next
        }
        if (!(there in floor) || $0 ~ /</) next

        if (room == "include") problem("the public header includes " header)
        else if (there == room) next
        else if (room == "cli" && there == "engine") problem("cli/ includes " header "; of the engine it knows <neap/neap.h> alone")
        else if (floor[there] > floor[room]) problem(room "/ includes " header " from a higher floor")
        else if (floor[there] == floor[room]) problem(room "/ includes " header " from a sibling wing")
    }
    END { exit faults > 0 }
    ' "${sources[@]}" || faults=1
fi

finish "$faults" "$looked" src/base include

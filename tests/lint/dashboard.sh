#!/usr/bin/env bash
# The dashboard's files hold nothing that a browser would run or load from elsewhere, and nothing that turns
# text into markup: no inline code or style, no address but its own, no storage. They stay small, too.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t sources < <(files '*' src/dashboard | grep -v '\.md$')

# What may stand nowhere. SVG's name space is no address that anybody asks.
forbidden=(
    'innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|srcdoc'
    'document\.(write|cookie)|localStorage|sessionStorage|indexedDB|serviceWorker'
    '\beval\b|new Function|javascript:|set(Timeout|Interval)\( *["'\''`]'
    '@import|url\('
    'https?://'
)

faults=0
for pattern in "${forbidden[@]}"; do
    if grep -nE -- "$pattern" "${sources[@]}" | grep -v 'http://www\.w3\.org/2000/svg'; then
        faults=$((faults + 1))
    fi
done
# In markup: code or style of its own.
if grep -nEi -- '<script>|<style|[ "]style=|[ "]on[a-z]+=' src/dashboard/*.html src/dashboard/*.svg; then
    faults=$((faults + 1))
fi
for file in "${sources[@]}"; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 600 ]; then
        echo "$file:$lines: more than 600 lines"
        faults=$((faults + 1))
    fi
done

finish "$faults" "${#sources[@]}" src/dashboard

# label: json-syntax|syntax-error
printf '{"a": 1,, }' > a.json
#---
node -e "JSON.parse(require('fs').readFileSync('a.json'))"

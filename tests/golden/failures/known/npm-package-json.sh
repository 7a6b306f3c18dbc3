# label: json-syntax|syntax-error
printf '{"name": "web",\n "version": }' > package.json
#---
npm install

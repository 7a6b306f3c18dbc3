# label: script-missing|command-missing
printf '{"name":"web","version":"1.0.0","scripts":{"start":"node x"}}' > package.json
#---
npm run build

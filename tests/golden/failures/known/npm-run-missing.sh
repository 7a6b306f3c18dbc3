# label: script-missing
printf '{"name":"pay","version":"1.0.0"}' > package.json
#---
npm run lint

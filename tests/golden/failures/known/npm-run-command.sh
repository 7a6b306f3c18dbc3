# label: command-missing
printf '{"name":"pay","version":"1.0.0","scripts":{"lint":"eslintt ."}}' > package.json
#---
npm run lint

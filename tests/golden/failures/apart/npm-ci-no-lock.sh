# label: lock-missing|lock-outdated|file-missing
printf '{"name":"web","version":"1.0.0","dependencies":{"left-pad":"1.3.0"}}' > package.json
#---
npm ci --offline

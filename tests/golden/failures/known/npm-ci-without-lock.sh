# label: lock-missing
printf '{"name":"pay","version":"2.0.0","dependencies":{"chalk":"5.0.0"}}' > package.json
#---
npm ci

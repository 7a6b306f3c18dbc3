# label: package-missing
printf '{"name":"pay","version":"1.0.0","dependencies":{"@shop/icons":"1.0.0"}}' > package.json
#---
npm install --registry $REGISTRY/status/404

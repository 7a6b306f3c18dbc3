# label: denied-by-registry
printf '{"name":"web","version":"1.0.0"}' > package.json
#---
npm install --registry $REGISTRY/status/401 shop-web

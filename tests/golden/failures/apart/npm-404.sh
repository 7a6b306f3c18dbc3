# label: package-missing
printf '{"name":"web","version":"1.0.0"}' > package.json
#---
npm install --registry $REGISTRY/status/404 shop-web-theme

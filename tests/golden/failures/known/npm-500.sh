# label: server-error
printf '{"name":"pay","version":"1.0.0"}' > package.json
#---
npm install --fetch-retries 0 --registry $REGISTRY/status/500 shop-web

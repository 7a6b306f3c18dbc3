# label: certificate
printf '{"name":"pay","version":"1.0.0"}' > package.json
#---
npm install --fetch-retries 0 --registry $TLS shop-web

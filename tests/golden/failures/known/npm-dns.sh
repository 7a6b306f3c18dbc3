# label: name-resolution|network
printf '{"name":"web","version":"1.0.0"}' > package.json
#---
npm install --fetch-retries 0 --registry http://npm.shop.invalid/ left-pad

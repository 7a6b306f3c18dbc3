# label: connection-refused|network
printf '{"name":"web","version":"1.0.0"}' > package.json
#---
npm install --fetch-retries 0 --registry http://127.0.0.1:9/ left-pad

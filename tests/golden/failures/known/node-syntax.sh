# label: syntax-error
printf 'const a = {\n' > app.js
#---
node app.js

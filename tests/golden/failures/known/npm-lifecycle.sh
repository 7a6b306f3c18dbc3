# label: compile-error|syntax-error|uncaught-exception|file-missing|module-missing
printf '{"name":"w","version":"1.0.0","scripts":{"build":"node build.js"}}' > package.json; printf 'require("./config.json");\n' > build.js
#---
npm run build

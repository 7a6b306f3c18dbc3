# label: file-missing
printf 'require("fs").readFileSync("dist/manifest.json");\n' > a.js
#---
node a.js

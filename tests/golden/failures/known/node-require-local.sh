# label: module-missing|file-missing
printf 'require("./lib/prices")\n' > i.js
#---
node i.js

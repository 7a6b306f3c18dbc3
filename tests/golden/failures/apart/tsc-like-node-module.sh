# label: module-missing
printf 'const express = require("express-session-store");\n' > server.js
#---
node server.js

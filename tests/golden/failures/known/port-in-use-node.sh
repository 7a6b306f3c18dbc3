# label: port-in-use
printf 'require("http").createServer().listen(process.env.PORT, "127.0.0.1");\n' > s.js
#---
node s.js

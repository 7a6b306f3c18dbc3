# label: test-failed|uncaught-exception
printf 'const test=require("node:test");const assert=require("node:assert");test("adds",()=>{assert.strictEqual(1+1,3)});\n' > a.test.js; printf '{"name":"w","version":"1.0.0","scripts":{"test":"node --test"}}' > package.json
#---
npm test

# label: migration
printf 'import sqlite3\nc = sqlite3.connect(":memory:")\nc.execute("select * from orders_order")\n' > check.py
#---
python check.py

# label: timeout
#---
python -c "import asyncio; asyncio.run(asyncio.wait_for(asyncio.sleep(9), 0.1))"

"""All that imports Ray, and what stands around its processes: start, end, HAProxy, uvicorn."""

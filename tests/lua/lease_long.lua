-- 2,000 fleets of each size instead of 25: see lease.lua.
--
-- ctest: labels long
-- ctest: timeout 3600

package.loaded["lease seeds"] = 2000
dofile((os.getenv "NEAP_SOURCE" or ".") .. "/tests/lua/lease.lua")

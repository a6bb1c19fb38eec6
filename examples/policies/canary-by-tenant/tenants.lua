-- Who may call; `neap key new --tenant NAME` makes a key of your own for each.
return {
  acme = { keys = { "sha256:32a916e18f5f69076105837cfdaa4416ce723425f76f16ee78cdac85d8a0c896" } },
  bergamo = { keys = { "sha256:ae8743f2e3a5f9c5640fa2640f6349c2d883e134c1f47960672482116e728b19" } },
  cobalt = { keys = { "sha256:1ea5cda2e81421ce0f6fa63366ad50c547901f8cece24f770bb39eadb1304828" } },
  dynamo = { keys = { "sha256:accf1448c2d256402433aaa974cf3158417d32a1c440f8aa1526c9d31fab3bd9" } },
  everest = { keys = { "sha256:472fef2a03441c9d918bb2b0d16acf7e79b386e9c8ee702f9c7d422e33322166" } },
}

-- The tenants that pay for premium answers.
return { acme = true }

package bank

// Accounts are the rules of accounts, whose transfers wait so long for an answer.
var Accounts = accounts

# Tells DHCP clients of larder, by the DHCP server of Windows: option 235 is the cache host, option 234 the group for peers.
#
# Edit:  the three values below: the appliance's name or address, the group's GUID (one for all who may be peers:
#        New-Guid), and the scope. Without -ScopeId the options hold for all scopes of the server.
# Run:   as an administrator on the DHCP server (its PowerShell module DhcpServer comes with the role).
# Undo:  Remove-DhcpServerv4OptionValue -ScopeId $Scope -OptionId 234, 235
# Needs: Windows goes by 235 where DOCacheHostSource is 1 or 2, and by 234 where DOGroupIdSource is 3:
#        windows-policy.reg.

$CacheHost = 'larder.example.org'
$GroupId = '7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab'
$Scope = '10.0.0.0'

Add-DhcpServerv4OptionDefinition -OptionId 235 -Name 'Delivery Optimization cache host' -Type String
Add-DhcpServerv4OptionDefinition -OptionId 234 -Name 'Delivery Optimization group' -Type String
Set-DhcpServerv4OptionValue -ScopeId $Scope -OptionId 235 -Value $CacheHost
Set-DhcpServerv4OptionValue -ScopeId $Scope -OptionId 234 -Value $GroupId
Get-DhcpServerv4OptionValue -ScopeId $Scope -OptionId 234, 235
